"""Pictures: two small clean files out of one photo. Only the memory-capped worker loads it, and Pillow with it."""
