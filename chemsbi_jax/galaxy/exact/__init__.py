"""The likelihood of all stars by importance sampling over their local parameters."""
