"""What the mediator thinks about, without doing anything: no I/O, no clock."""
