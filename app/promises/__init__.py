"""Promise slips (phiếu hẹn): what a unit promised by accepting a case, signed."""
