"""What the data is: Arrow schemas of the stage boundaries, reasons, errors and the manifest."""
