"""What is looked at before anything is made, and what is found. Pure."""
