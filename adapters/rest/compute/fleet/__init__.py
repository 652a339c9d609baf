"""The hosts, as operators look at them and users hear of their zones."""
