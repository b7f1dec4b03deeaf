"""Language detectors measured side by side: `isogloss detect --evaluate FOLDER`."""
