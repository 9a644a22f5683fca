"""What only the console of a stack on this machine has: a bot, things to break, and what humans receive."""
