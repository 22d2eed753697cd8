"""What taking boundaries back is answered with."""

from app.core.errors import Problem

IN_FORCE = Problem(
    "boundaries_in_force",
    409,
    vi=(
        "Không còn rút được bộ ranh giới này",
        "Bộ ranh giới đã được rút, hoặc đã đến ngày hiệu lực {effective}. Vui lòng nhập một bộ đúng cho cùng ngày.",
    ),
    en=(
        "These boundaries can no longer be taken back",
        "They were taken back already, or their day {effective} has come. Import the right ones for the same day.",
    ),
)
