"""What happens by the clock. Each task drains what its predicate names, so a missed beat is made up by the next."""

from workers.celery_app import celery

celery.conf.beat_schedule = {
    "record-breaches": {"task": "housekeeping.record_breaches", "schedule": 60.0},
    "warn": {"task": "escalations.sweep", "schedule": 60.0},
    "recompute-deadlines": {"task": "housekeeping.recompute_deadlines", "schedule": 30.0},
    "units-change": {"task": "reforms.happen", "schedule": 60.0},
    "close-by-silence": {"task": "housekeeping.close_by_silence", "schedule": 900.0},
    "forecast": {"task": "housekeeping.forecast", "schedule": 600.0},
    "search-catch-up": {"task": "search.catch_up", "schedule": 3600.0},
    "time-out-questions": {"task": "housekeeping.time_out_questions", "schedule": 60.0},
    "return-planned": {"task": "housekeeping.return_planned", "schedule": 900.0},
    "forget": {"task": "housekeeping.forget", "schedule": 3600.0},
    "sweep-orphans": {"task": "housekeeping.sweep_orphans", "schedule": 86_400.0},
    "sweep-uploads": {"task": "housekeeping.sweep_uploads", "schedule": 900.0},
    "seal": {"task": "seals.seal", "schedule": 600.0},
    "deliver-seals": {"task": "seals.deliver", "schedule": 60.0},
    "sweep-media": {"task": "housekeeping.sweep_media", "schedule": 300.0},
}
