"""What a person sees: commands and tables, no logic."""
