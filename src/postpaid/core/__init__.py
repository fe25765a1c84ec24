"""What things are: pure rules on the standard library alone, with no clock, no float and no I/O."""
