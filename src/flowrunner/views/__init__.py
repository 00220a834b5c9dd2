"""What executions look like from outside: pure folds over a head and the records of its log."""
