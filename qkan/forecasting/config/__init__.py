"""What a training and a comparison can be asked for, checked where it is given."""
