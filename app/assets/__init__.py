"""Assets: roads, lamps, manholes and who looks after them."""
