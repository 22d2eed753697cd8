"""Deliveries of boundaries: checked, compared, stored, withdrawn; approximate ones drawn."""
