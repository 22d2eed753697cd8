"""Units in time, their boundaries, and which commune a point lies in."""
