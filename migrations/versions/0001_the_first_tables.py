"""The first tables of every slice, an append-only history, and an application role that owns nothing."""

from datetime import UTC, datetime
from uuid import UUID

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import make_url

from app.cases.models import Xid8
from app.core.config import settings

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _tables()
    _history_is_append_only()
    _app_role_owns_nothing()


def _tables() -> None:
    op.create_table(
        "account",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("locale", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("kind IN ('citizen', 'staff')", name="account_kind_known"),
        sa.CheckConstraint("locale IN ('vi', 'en')", name="account_locale_known"),
        sa.CheckConstraint("status IN ('active', 'blocked', 'erased')", name="account_status_known"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "app_version",
        sa.Column("platform", sa.Text(), nullable=False),
        sa.Column("minimum", sa.Text(), nullable=False),
        sa.CheckConstraint("minimum ~ '^[0-9]+([.][0-9]+){2}$'", name="app_version_minimum_check"),
        sa.CheckConstraint("platform IN ('android', 'ios')", name="app_version_platform_check"),
        sa.PrimaryKeyConstraint("platform"),
    )
    op.create_table(
        "boundary_version",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("accuracy", sa.Text(), nullable=False),
        sa.Column("effective_from", sa.Date(), nullable=False),
        sa.Column("imported_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("licence", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.CheckConstraint("accuracy IN ('surveyed', 'approximate')", name="ck_boundary_version_accuracy"),
        sa.CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name="ck_boundary_version_sha256"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_boundary_version_effective_from", "boundary_version", ["effective_from"], unique=False)
    op.create_table(
        "calendar_day",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("date", sa.Date(), nullable=False),
        sa.Column("unit_group", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("entered_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("source IN ('library', 'override')", name="ck_calendar_day_source"),
        sa.CheckConstraint(
            "state IN ('off', 'work', 'half_morning', 'half_afternoon', 'normal')", name="ck_calendar_day_state"
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("date", "unit_group", "source", "entered_at", name="uq_calendar_day_entry"),
    )
    op.create_table(
        "category_group",
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("number", sa.SmallInteger(), nullable=False),
        sa.Column("name_vi", sa.Text(), nullable=False),
        sa.Column("name_en", sa.Text(), nullable=False),
        sa.Column("position", sa.SmallInteger(), nullable=False),
        sa.Column("public_default", sa.Boolean(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.CheckConstraint("code ~ '^[a-z][a-z0-9]*(_[a-z0-9]+)*$'", name="category_group_code_check"),
        sa.CheckConstraint("number BETWEEN 1 AND 99", name="category_group_number_check"),
        sa.PrimaryKeyConstraint("code"),
    )
    op.create_index("category_group_number_key", "category_group", ["number"], unique=True, postgresql_where="active")
    op.create_table(
        "config_version",
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("topic"),
    )
    op.create_table(
        "consent_text",
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("valid_from", sa.Date(), nullable=False),
        sa.Column("text_vi", sa.Text(), nullable=False),
        sa.Column("text_en", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("version"),
    )
    op.create_table(
        "emergency_number",
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("name_vi", sa.Text(), nullable=False),
        sa.Column("name_en", sa.Text(), nullable=False),
        sa.Column("position", sa.SmallInteger(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.CheckConstraint("number ~ '^[0-9]{3,11}$'", name="emergency_number_number_check"),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_table(
        "feature_switch",
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.CheckConstraint("code ~ '^[a-z][a-z0-9]*(_[a-z0-9]+)*$'", name="feature_switch_code_check"),
        sa.PrimaryKeyConstraint("code"),
    )
    op.create_table(
        "idempotency_key",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Uuid(), nullable=False),
        sa.Column("request_hash", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "key"),
    )
    op.create_index(op.f("ix_idempotency_key_created_at"), "idempotency_key", ["created_at"], unique=False)
    op.create_table(
        "province",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("name_vi", sa.Text(), nullable=False),
        sa.Column("name_en", sa.Text(), nullable=False),
        sa.Column("west", sa.Double(), nullable=False),
        sa.Column("south", sa.Double(), nullable=False),
        sa.Column("east", sa.Double(), nullable=False),
        sa.Column("north", sa.Double(), nullable=False),
        sa.Column("hotline", sa.Text(), nullable=False),
        sa.CheckConstraint("id = 1", name="province_single_check"),
        sa.CheckConstraint("west < east AND south < north", name="province_bounds_check"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "reject_code",
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("name_vi", sa.Text(), nullable=False),
        sa.Column("name_en", sa.Text(), nullable=False),
        sa.Column("turn_to_vi", sa.Text(), nullable=False),
        sa.Column("turn_to_en", sa.Text(), nullable=False),
        sa.Column("position", sa.SmallInteger(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.CheckConstraint("code ~ '^[a-z][a-z0-9]*(_[a-z0-9]+)*$'", name="reject_code_code_check"),
        sa.PrimaryKeyConstraint("code"),
    )
    op.create_table(
        "sign_in_code",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("phone_index", sa.LargeBinary(), nullable=False),
        sa.Column("code_mac", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.SmallInteger(), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("attempts BETWEEN 0 AND 5", name="sign_in_code_attempts_bounded"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("phone_index", name="sign_in_code_one_a_phone"),
    )
    op.create_index("sign_in_code_by_expiry", "sign_in_code", ["expires_at"], unique=False)
    op.create_table(
        "unit",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_en", sa.Text(), nullable=False),
        sa.Column("sort_key", sa.Text(), nullable=False),
        sa.Column("folded", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("parent_id", sa.Uuid(), nullable=True),
        sa.Column("valid_from", sa.Date(), nullable=False),
        sa.Column("valid_to", sa.Date(), nullable=True),
        sa.Column("phone", sa.Text(), nullable=True),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("population", sa.Integer(), nullable=True),
        sa.Column("belief", sa.Boolean(), nullable=False),
        sa.CheckConstraint("(level = 'province') = (parent_id IS NULL)", name="ck_unit_parent"),
        sa.CheckConstraint(
            "kind IN ('province', 'xa', 'phuong', 'department', 'utility', 'police', 'office', 'centre')",
            name="ck_unit_kind",
        ),
        sa.CheckConstraint("level IN ('province', 'commune', 'department', 'utility', 'ioc')", name="ck_unit_level"),
        sa.CheckConstraint("population IS NULL OR population > 0", name="ck_unit_population"),
        sa.CheckConstraint("valid_to IS NULL OR valid_to > valid_from", name="ck_unit_period"),
        sa.ForeignKeyConstraint(
            ["parent_id"],
            ["unit.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("code", "valid_from", name="uq_unit_code_valid_from"),
    )
    op.create_index("ix_unit_parent_id", "unit", ["parent_id"], unique=False)
    op.create_table(
        "working_hours",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("unit_group", sa.Text(), nullable=False),
        sa.Column("weekday", sa.SmallInteger(), nullable=False),
        sa.Column("start_minute", sa.SmallInteger(), nullable=False),
        sa.Column("end_minute", sa.SmallInteger(), nullable=False),
        sa.Column("effective_from", sa.Date(), nullable=False),
        sa.Column("entered_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "0 <= start_minute AND start_minute < end_minute AND end_minute <= 1440", name="ck_working_hours_minutes"
        ),
        sa.CheckConstraint("weekday BETWEEN 0 AND 6", name="ck_working_hours_weekday"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint(
            "unit_group", "effective_from", "entered_at", "weekday", "start_minute", name="uq_working_hours_interval"
        ),
    )
    op.create_table(
        "audit_entry",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("before", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("after", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.ForeignKeyConstraint(
            ["actor_id"],
            ["account.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("audit_entry_by_time", "audit_entry", ["at"], unique=False)
    op.create_index("audit_entry_of_subject", "audit_entry", ["topic", "subject", "at"], unique=False)
    op.create_table(
        "boundary",
        sa.Column("version_id", sa.Uuid(), nullable=False),
        sa.Column("unit_id", sa.Uuid(), nullable=False),
        sa.Column("wkb", sa.LargeBinary(), nullable=False),
        sa.Column("area_km2", sa.Float(), nullable=False),
        sa.CheckConstraint("area_km2 > 0", name="ck_boundary_area"),
        sa.ForeignKeyConstraint(
            ["unit_id"],
            ["unit.id"],
        ),
        sa.ForeignKeyConstraint(
            ["version_id"],
            ["boundary_version.id"],
        ),
        sa.PrimaryKeyConstraint("version_id", "unit_id"),
    )
    op.create_index("ix_boundary_unit_id", "boundary", ["unit_id"], unique=False)
    op.create_table(
        "category",
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("group_code", sa.Text(), nullable=False),
        sa.Column("name_vi", sa.Text(), nullable=False),
        sa.Column("name_en", sa.Text(), nullable=False),
        sa.Column("hint_vi", sa.Text(), nullable=False),
        sa.Column("hint_en", sa.Text(), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("default_unit_code", sa.Text(), nullable=True),
        sa.Column("urgency", sa.Text(), nullable=False),
        sa.Column("trusted", sa.Boolean(), nullable=False),
        sa.Column("publication", sa.Text(), nullable=False),
        sa.Column("concerns_staff", sa.Boolean(), nullable=False),
        sa.Column("emergency_numbers", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("coarsen_m", sa.SmallInteger(), nullable=False),
        sa.Column("photo_suggested", sa.Boolean(), nullable=False),
        sa.Column("position", sa.SmallInteger(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.CheckConstraint("code ~ '^[a-z][a-z0-9]*(_[a-z0-9]+)*$'", name="category_code_check"),
        sa.CheckConstraint("level = 'commune' OR default_unit_code IS NOT NULL", name="category_default_unit_check"),
        sa.CheckConstraint("level IN ('commune', 'department', 'utility')", name="category_level_check"),
        sa.CheckConstraint("number ~ '^[1-9][0-9]?[.][1-9][0-9]?$'", name="category_number_check"),
        sa.CheckConstraint("publication IN ('auto', 'review', 'never')", name="category_publication_check"),
        sa.CheckConstraint("urgency IN ('normal', 'urgent')", name="category_urgency_check"),
        sa.CheckConstraint("coarsen_m BETWEEN 0 AND 5000", name="category_coarsen_check"),
        sa.ForeignKeyConstraint(["group_code"], ["category_group.code"], name="category_group_code_fkey"),
        sa.PrimaryKeyConstraint("code"),
    )
    op.create_index("category_group_code_idx", "category", ["group_code"], unique=False)
    op.create_index("category_number_key", "category", ["number"], unique=True, postgresql_where="active")
    op.create_table(
        "credential",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["account.id"],
        ),
        sa.PrimaryKeyConstraint("account_id"),
    )
    op.create_table(
        "identity",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("phone_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("phone_index", sa.LargeBinary(), nullable=True),
        sa.Column("name_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("email_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("email_index", sa.LargeBinary(), nullable=True),
        sa.Column("consent_version", sa.Text(), nullable=True),
        sa.Column("consent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "channel IN ('app', 'web', 'assistant', 'integration', 'staff')", name="identity_channel_known"
        ),
        sa.CheckConstraint("(consent_version IS NULL) = (consent_at IS NULL)", name="identity_consent_whole"),
        sa.CheckConstraint("(email_sealed IS NULL) = (email_index IS NULL)", name="identity_email_whole"),
        sa.CheckConstraint("(phone_sealed IS NULL) = (phone_index IS NULL)", name="identity_phone_whole"),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["account.id"],
        ),
        sa.PrimaryKeyConstraint("account_id"),
        sa.UniqueConstraint("email_index", name="identity_email_once"),
        sa.UniqueConstraint("phone_index", name="identity_phone_once"),
    )
    op.create_table(
        "identity_read",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("reader_id", sa.Uuid(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("case_id", sa.Uuid(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "purpose IN ('verify', 'call', 'duplicate', 'data_request', 'law')", name="identity_read_purpose_known"
        ),
        sa.ForeignKeyConstraint(
            ["reader_id"],
            ["account.id"],
        ),
        sa.ForeignKeyConstraint(
            ["subject_id"],
            ["account.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("identity_read_by_reader", "identity_read", ["reader_id", "at"], unique=False)
    op.create_index("identity_read_of_subject", "identity_read", ["subject_id", "at"], unique=False)
    op.create_table(
        "media",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("detected_type", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=True),
        sa.Column("original_key", sa.Text(), nullable=False),
        sa.Column("large_key", sa.Text(), nullable=False),
        sa.Column("small_key", sa.Text(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=True),
        sa.Column("height", sa.Integer(), nullable=True),
        sa.Column("dhash", sa.BigInteger(), nullable=True),
        sa.Column("exif_taken_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("exif_lat", sa.Double(), nullable=True),
        sa.Column("exif_lon", sa.Double(), nullable=True),
        sa.Column("failure_code", sa.Text(), nullable=True),
        sa.Column("attempts", sa.SmallInteger(), nullable=False),
        sa.Column("lease_id", sa.Uuid(), nullable=True),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("delete_requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(state = 'failed') = (failure_code IS NOT NULL)", name="media_failure_says_why"),
        sa.CheckConstraint(
            "detected_type IN ('image/jpeg', 'image/png', 'image/webp', 'image/heic')", name="media_type_known"
        ),
        sa.CheckConstraint("state <> 'processed' OR (width > 0 AND height > 0)", name="media_processed_has_size"),
        sa.CheckConstraint("state IN ('stored', 'processed', 'failed')", name="media_state_known"),
        sa.CheckConstraint("(exif_lat IS NULL) = (exif_lon IS NULL)", name="media_hint_whole"),
        sa.CheckConstraint("deleted_at IS NULL OR delete_requested_at IS NOT NULL", name="media_deletion_was_asked"),
        sa.CheckConstraint("size_bytes > 0", name="media_not_empty"),
        sa.ForeignKeyConstraint(
            ["owner_id"],
            ["account.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "media_deletion_owed",
        "media",
        ["next_attempt_at"],
        unique=False,
        postgresql_where=sa.text("delete_requested_at IS NOT NULL AND deleted_at IS NULL"),
    )
    op.create_index("media_large_key", "media", ["large_key"], unique=True)
    op.create_index("media_original_key", "media", ["original_key"], unique=True)
    op.create_index("media_owner", "media", ["owner_id", "created_at"], unique=False)
    op.create_index(
        "media_processing_owed",
        "media",
        ["next_attempt_at"],
        unique=False,
        postgresql_where=sa.text("state = 'stored' AND delete_requested_at IS NULL"),
    )
    op.create_index("media_small_key", "media", ["small_key"], unique=True)
    op.create_table(
        "membership",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("unit_id", sa.Uuid(), nullable=True),
        sa.Column("valid_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("valid_to", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "role IN ('dispatcher', 'administrator', 'auditor', 'integration') AND unit_id IS NULL OR role IN ('assistant', 'officer', 'lead') AND unit_id IS NOT NULL OR role = 'leader'",
            name="membership_role_fits_scope",
        ),
        sa.CheckConstraint("valid_to IS NULL OR valid_to >= valid_from", name="membership_time_runs_on"),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["account.id"],
        ),
        sa.ForeignKeyConstraint(
            ["unit_id"],
            ["unit.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("membership_of_account", "membership", ["account_id"], unique=False)
    op.create_index("membership_of_unit", "membership", ["unit_id", "role"], unique=False)
    op.create_table(
        "message",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("dedupe_key", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=True),
        sa.Column("case_id", sa.Uuid(), nullable=True),
        sa.Column("channel", sa.Text(), server_default="push", nullable=False),
        sa.Column("priority", sa.SmallInteger(), server_default="1", nullable=False),
        sa.Column("template", sa.Text(), nullable=False),
        sa.Column("params", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("address_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("secret_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("locale", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), server_default="owed", nullable=False),
        sa.Column("attempts", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("lease_id", sa.Uuid(), nullable=True),
        sa.Column(
            "next_attempt_at", sa.DateTime(timezone=True), server_default=sa.text("CURRENT_TIMESTAMP"), nullable=False
        ),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failure_code", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("(state = 'failed') <= (failure_code IS NOT NULL)", name="message_failure_has_code"),
        sa.CheckConstraint("(state = 'sent') = (sent_at IS NOT NULL)", name="message_sent_has_moment"),
        sa.CheckConstraint(
            "account_id IS NOT NULL OR address_sealed IS NOT NULL OR state <> 'owed'", name="message_has_recipient"
        ),
        sa.CheckConstraint("channel IN ('push', 'sms', 'email')", name="message_channel_known"),
        sa.CheckConstraint("locale IN ('vi', 'en')", name="message_locale_known"),
        sa.CheckConstraint(
            "state = 'owed' OR (address_sealed IS NULL AND secret_sealed IS NULL)", name="message_wiped_at_end"
        ),
        sa.CheckConstraint("state IN ('owed', 'sent', 'failed')", name="message_state_known"),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["account.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("dedupe_key", name="message_once"),
    )
    op.create_index(
        "message_failed", "message", ["created_at"], unique=False, postgresql_where=sa.text("state = 'failed'")
    )
    op.create_index("message_of_account", "message", ["account_id", "created_at"], unique=False)
    op.create_index("message_of_case", "message", ["case_id"], unique=False)
    op.create_index(
        "message_owed",
        "message",
        ["priority", "next_attempt_at"],
        unique=False,
        postgresql_where=sa.text("state = 'owed'"),
    )
    op.create_table(
        "session",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("device", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("end_reason", sa.Text(), nullable=True),
        sa.CheckConstraint("end_reason IN ('signed_out', 'reused', 'blocked')", name="session_end_reason_known"),
        sa.CheckConstraint("(ended_at IS NULL) = (end_reason IS NULL)", name="session_end_whole"),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["account.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("session_of_account", "session", ["account_id"], unique=False)
    op.create_table(
        "deadline_policy",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("category_code", sa.Text(), nullable=True),
        sa.Column("clock", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("minutes", sa.Integer(), nullable=False),
        sa.Column("valid_from", sa.Date(), nullable=False),
        sa.Column("entered_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decision", sa.Text(), nullable=True),
        sa.Column("belief", sa.Boolean(), nullable=False),
        sa.CheckConstraint(
            "clock IN ('verify', 'accept', 'first_response', 'resolve', 'approve', 'answer')",
            name="ck_deadline_policy_clock",
        ),
        sa.CheckConstraint("kind <> 'calendar' OR mod(minutes, 1440) = 0", name="ck_deadline_policy_whole_days"),
        sa.CheckConstraint("kind IN ('working', 'calendar', 'continuous')", name="ck_deadline_policy_kind"),
        sa.CheckConstraint("minutes > 0", name="ck_deadline_policy_minutes"),
        sa.ForeignKeyConstraint(
            ["category_code"],
            ["category.code"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint(
            "category_code",
            "clock",
            "valid_from",
            "entered_at",
            name="uq_deadline_policy_entry",
            postgresql_nulls_not_distinct=True,
        ),
    )
    op.create_table(
        "refresh_token",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("successor_id", sa.Uuid(), nullable=True),
        sa.ForeignKeyConstraint(["session_id"], ["session.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["successor_id"], ["refresh_token.id"], ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("successor_id", name="refresh_token_successor_once"),
        sa.UniqueConstraint("token_hash", name="refresh_token_hash_once"),
    )
    op.create_index("refresh_token_by_expiry", "refresh_token", ["expires_at"], unique=False)
    op.create_index("refresh_token_of_session", "refresh_token", ["session_id"], unique=False)
    op.create_table(
        "report",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("category_code", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("visibility", sa.Text(), nullable=False),
        sa.Column("hide_name", sa.Boolean(), nullable=False),
        sa.Column("allow_call", sa.Boolean(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("request_hash", sa.LargeBinary(), nullable=False),
        sa.Column("request_id", sa.Text(), server_default="", nullable=False),
        sa.CheckConstraint("visibility IN ('public', 'private')", name="report_visibility"),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["account.id"],
        ),
        sa.ForeignKeyConstraint(
            ["category_code"],
            ["category.code"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "report_by_account", "report", ["account_id", sa.literal_column("received_at DESC"), "id"], unique=False
    )
    op.create_table(
        "routing_rule",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("category_code", sa.Text(), nullable=True),
        sa.Column("group_code", sa.Text(), nullable=True),
        sa.Column("commune_id", sa.Uuid(), nullable=True),
        sa.Column("unit_id", sa.Uuid(), nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("valid_from", sa.Date(), nullable=False),
        sa.Column("valid_to", sa.Date(), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("num_nonnulls(category_code, group_code) = 1", name="routing_rule_subject"),
        sa.CheckConstraint("valid_to IS NULL OR valid_to > valid_from", name="routing_rule_period"),
        sa.ForeignKeyConstraint(
            ["category_code"],
            ["category.code"],
        ),
        sa.ForeignKeyConstraint(
            ["commune_id"],
            ["unit.id"],
        ),
        sa.ForeignKeyConstraint(
            ["group_code"],
            ["category_group.code"],
        ),
        sa.ForeignKeyConstraint(
            ["unit_id"],
            ["unit.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "case_file",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("report_id", sa.Uuid(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("category_code", sa.Text(), nullable=False),
        sa.Column("urgency", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("cycle", sa.SmallInteger(), nullable=False),
        sa.Column("unit_id", sa.Uuid(), nullable=True),
        sa.Column("commune_id", sa.Uuid(), nullable=True),
        sa.Column("candidate_ids", sa.ARRAY(sa.Uuid()), server_default="{}", nullable=False),
        sa.Column("boundary_version_id", sa.Uuid(), nullable=True),
        sa.Column("route_reason", sa.Text(), nullable=True),
        sa.Column("routing_attempts", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("act_by", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("hidden_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("reject_code", sa.Text(), nullable=True),
        sa.Column("rating", sa.Text(), nullable=True),
        sa.Column("head", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("rating IN ('satisfied', 'acceptable', 'dissatisfied')", name="case_file_rating"),
        sa.CheckConstraint(
            "state IN ('verifying', 'routing', 'triage', 'assigned', 'accepted', 'in_progress', 'resolved', 'closed', 'rejected', 'merged', 'withdrawn')",
            name="case_file_state",
        ),
        sa.CheckConstraint("urgency IN ('normal', 'urgent')", name="case_file_urgency"),
        sa.ForeignKeyConstraint(
            ["boundary_version_id"],
            ["boundary_version.id"],
        ),
        sa.ForeignKeyConstraint(
            ["category_code"],
            ["category.code"],
        ),
        sa.ForeignKeyConstraint(
            ["commune_id"],
            ["unit.id"],
        ),
        sa.ForeignKeyConstraint(
            ["report_id"],
            ["report.id"],
        ),
        sa.ForeignKeyConstraint(
            ["unit_id"],
            ["unit.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("reference", name="case_file_reference"),
        sa.UniqueConstraint("report_id", name="case_file_report"),
    )
    op.create_index(
        "case_file_owed_routing",
        "case_file",
        ["received_at"],
        unique=False,
        postgresql_where=sa.text("state = 'routing'"),
    )
    op.create_index(
        "case_file_queue",
        "case_file",
        ["state", sa.literal_column("(urgency <> 'urgent')"), "act_by", "id"],
        unique=False,
        postgresql_where=sa.text("state IN ('verifying', 'triage')"),
    )
    op.create_index(
        "case_file_resolved", "case_file", ["resolved_at"], unique=False, postgresql_where=sa.text("state = 'resolved'")
    )
    op.create_index(
        "case_file_worklist",
        "case_file",
        ["unit_id", sa.literal_column("(urgency <> 'urgent')"), "act_by", "id"],
        unique=False,
        postgresql_where=sa.text("state IN ('assigned', 'accepted', 'in_progress')"),
    )
    op.create_table(
        "public_copy",
        sa.Column("report_id", sa.Uuid(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("lat", sa.Float(), nullable=True),
        sa.Column("lon", sa.Float(), nullable=True),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["report_id"],
            ["report.id"],
        ),
        sa.PrimaryKeyConstraint("report_id"),
    )
    op.create_index(op.f("ix_public_copy_published_at"), "public_copy", ["published_at"], unique=False)
    op.create_index(
        "public_copy_place",
        "public_copy",
        [sa.literal_column("point(lon, lat)")],
        unique=False,
        postgresql_using="gist",
    )
    op.create_table(
        "report_content",
        sa.Column("report_id", sa.Uuid(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("lat", sa.Float(), nullable=True),
        sa.Column("lon", sa.Float(), nullable=True),
        sa.Column("accuracy_m", sa.Float(), nullable=True),
        sa.Column("stated_unit_id", sa.Uuid(), nullable=True),
        sa.Column("place_text", sa.Text(), nullable=True),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("nonce", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("(lat IS NULL) = (lon IS NULL)", name="report_content_location"),
        sa.CheckConstraint("lat BETWEEN -90 AND 90 AND lon BETWEEN -180 AND 180", name="report_content_range"),
        sa.CheckConstraint("length(description) <= 5000", name="report_content_description"),
        sa.ForeignKeyConstraint(["report_id"], ["report.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["stated_unit_id"],
            ["unit.id"],
        ),
        sa.PrimaryKeyConstraint("report_id"),
    )
    op.create_table(
        "report_media",
        sa.Column("report_id", sa.Uuid(), nullable=False),
        sa.Column("media_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.SmallInteger(), nullable=False),
        sa.Column("is_public", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["media_id"],
            ["media.id"],
        ),
        sa.ForeignKeyConstraint(
            ["report_id"],
            ["report.id"],
        ),
        sa.PrimaryKeyConstraint("report_id", "media_id"),
        sa.UniqueConstraint("media_id"),
    )
    op.create_table(
        "case_event",
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("verb", sa.Text(), nullable=False),
        sa.Column("from_state", sa.Text(), nullable=True),
        sa.Column("to_state", sa.Text(), nullable=False),
        sa.Column("actor_kind", sa.Text(), nullable=False),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("unit_id", sa.Uuid(), nullable=True),
        sa.Column("commune_id", sa.Uuid(), nullable=True),
        sa.Column("cycle", sa.SmallInteger(), nullable=False),
        sa.Column("category_code", sa.Text(), nullable=False),
        sa.Column("urgency", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("commitment", sa.LargeBinary(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("xid", Xid8(), server_default=sa.text("pg_current_xact_id()"), nullable=False),
        sa.Column("pos", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["case_id"],
            ["case_file.id"],
        ),
        sa.PrimaryKeyConstraint("case_id", "seq"),
        postgresql_partition_by="RANGE (case_id)",
    )
    op.create_index("case_event_order", "case_event", ["xid", "pos"], unique=False)
    op.create_index(
        "case_event_received", "case_event", ["at", "case_id"], unique=False, postgresql_where=sa.text("seq = 1")
    )
    op.create_table(
        "case_hop",
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("started_seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("cycle", sa.SmallInteger(), nullable=False),
        sa.Column("unit_id", sa.Uuid(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.CheckConstraint("(ended_at IS NULL) = (outcome IS NULL)", name="case_hop_outcome"),
        sa.CheckConstraint("ended_at >= received_at", name="case_hop_order"),
        sa.ForeignKeyConstraint(
            ["case_id"],
            ["case_file.id"],
        ),
        sa.ForeignKeyConstraint(
            ["unit_id"],
            ["unit.id"],
        ),
        sa.PrimaryKeyConstraint("case_id", "started_seq"),
    )
    op.create_index("case_hop_by_unit", "case_hop", ["unit_id", "received_at"], unique=False)
    op.create_index(
        "case_hop_current", "case_hop", ["case_id"], unique=True, postgresql_where=sa.text("ended_at IS NULL")
    )
    op.create_table(
        "case_photo",
        sa.Column("media_id", sa.Uuid(), nullable=False),
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("is_public", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["case_id"],
            ["case_file.id"],
        ),
        sa.ForeignKeyConstraint(
            ["media_id"],
            ["media.id"],
        ),
        sa.PrimaryKeyConstraint("media_id"),
    )
    op.create_index(op.f("ix_case_photo_case_id"), "case_photo", ["case_id"], unique=False)
    op.create_table(
        "case_text",
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("nonce", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["case_id"],
            ["case_file.id"],
        ),
        sa.PrimaryKeyConstraint("case_id", "seq"),
    )
    op.create_table(
        "sla_clock",
        sa.Column("case_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("started_seq", sa.Integer(), nullable=False),
        sa.Column("cycle", sa.SmallInteger(), nullable=False),
        sa.Column("unit_id", sa.Uuid(), nullable=True),
        sa.Column("policy_id", sa.Uuid(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("stopped_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("met", sa.Boolean(), nullable=True),
        sa.Column("breached_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "kind IN ('verify', 'accept', 'first_response', 'resolve', 'approve', 'answer')", name="ck_sla_clock_kind"
        ),
        sa.CheckConstraint("(stopped_at IS NULL) = (met IS NULL)", name="ck_sla_clock_verdict"),
        sa.CheckConstraint("met IS NOT FALSE OR breached_at IS NOT NULL", name="ck_sla_clock_breach"),
        sa.CheckConstraint("met IS NOT TRUE OR stopped_at <= due_at", name="ck_sla_clock_met"),
        sa.ForeignKeyConstraint(
            ["case_id"],
            ["case_file.id"],
        ),
        sa.ForeignKeyConstraint(
            ["policy_id"],
            ["deadline_policy.id"],
        ),
        sa.ForeignKeyConstraint(
            ["unit_id"],
            ["unit.id"],
        ),
        sa.PrimaryKeyConstraint("case_id", "kind", "started_seq"),
    )
    op.create_index(
        "ix_sla_clock_open_due", "sla_clock", ["due_at"], unique=False, postgresql_where=sa.text("stopped_at IS NULL")
    )


# One partition per year of the case's birth (UUIDv7 begins with the milliseconds), and one for whatever lies outside.
FIRST_YEAR, LAST_YEAR = 2024, 2045
APPEND_ONLY = ("case_event", "audit_entry", "identity_read")


def _history_is_append_only() -> None:
    for year in range(FIRST_YEAR, LAST_YEAR + 1):
        op.execute(
            f"CREATE TABLE case_event_{year} PARTITION OF case_event"
            f" FOR VALUES FROM ('{_first_id(year)}') TO ('{_first_id(year + 1)}')"
        )
    op.execute("CREATE TABLE case_event_other PARTITION OF case_event DEFAULT")
    op.execute(
        "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$"
    )
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table}"
            " FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        )
    for table in (*APPEND_ONLY, *_partitions()):
        op.execute(
            f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table}"
            " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )


def _app_role_owns_nothing() -> None:
    """The role of DATABASE_URL may use the tables, and may not rewrite history."""
    role = make_url(settings().database_url).username
    if role == make_url(settings().owner_database_url).username:
        return  # one role for both: `production` refuses to start like this
    op.execute(f'GRANT USAGE ON SCHEMA public TO "{role}"')
    op.execute(f'GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO "{role}"')
    op.execute(f'GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO "{role}"')
    op.execute(f'ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO "{role}"')
    op.execute(f'ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO "{role}"')
    op.execute(f'REVOKE UPDATE, DELETE, TRUNCATE ON {", ".join(APPEND_ONLY)} FROM "{role}"')
    op.execute(f'REVOKE ALL ON {", ".join(_partitions())} FROM "{role}"')
    op.execute(f'REVOKE INSERT, UPDATE, DELETE ON alembic_version FROM "{role}"')


def _partitions() -> list[str]:
    return [f"case_event_{year}" for year in range(FIRST_YEAR, LAST_YEAR + 1)] + ["case_event_other"]


def _first_id(year: int) -> UUID:
    """The smallest UUIDv7 of a year (UTC)."""
    return UUID(int=int(datetime(year, 1, 1, tzinfo=UTC).timestamp() * 1000) << 80)


def downgrade() -> None:
    """There is nothing before the first tables: restore a backup instead."""
    raise NotImplementedError
