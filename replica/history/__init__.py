"""Loading a retail history through real devices: rows of a file become events (issue point 9)."""
