"""The stores: one folder for each database."""
