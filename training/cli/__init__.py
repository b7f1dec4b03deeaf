"""The commands of training: `train`, `evaluate`, `route`, `calibrate`, `gains` and `study`."""
