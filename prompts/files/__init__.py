"""Files as people and programs write them: text, tables, paths, and files whole or not there."""
