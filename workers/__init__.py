"""What runs beside the API: the relay that rings, the tasks that drain, the schedule. One thin file per slice."""
