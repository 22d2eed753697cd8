"""The areas of communes in versions, and which commune a point lies in."""
