"""Files of rows, answered row by row: of any size, in order, and resumed where they stopped."""
