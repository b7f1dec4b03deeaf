"""Can the tests fail? Small faults put into the code, one at a time: `python -m tests.mutation`."""
