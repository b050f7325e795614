"""The commands, a module for those that belong together; what their options mean, and what they show."""
