"""The systems that the paper compares CMSA with, a file each; inputs and output as `build_cmsa`."""
