"""Working time, how long each clock may run, and the clocks of cases."""
