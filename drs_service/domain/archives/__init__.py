"""Files of many files, made piece by piece as the bytes pass by."""
