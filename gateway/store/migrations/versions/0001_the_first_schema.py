# ruff: noqa: PLR0915 (a list of statements, however long)
"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Change the schema; it is never changed back, a mistake gets a revision of its own."""
    op.create_table(
        "access_token",
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("token_id", sa.String(), nullable=False),
        sa.Column("client", sa.String(), nullable=False),
        sa.Column("organization", sa.String(), nullable=False),
        sa.Column("scopes", sa.String(), nullable=False),
        sa.Column("purpose", sa.String(), nullable=False),
        sa.Column("issued_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest"),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("access_token", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_access_token_expires_at"), ["expires_at"], unique=False)

    op.create_table(
        "assertion_replay",
        sa.Column("issuer", sa.String(), nullable=False),
        sa.Column("jti_digest", sa.String(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("issuer", "jti_digest"),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("assertion_replay", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_assertion_replay_expires_at"), ["expires_at"], unique=False)

    op.create_table(
        "audit_checkpoint",
        sa.Column("size", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("root", sa.String(), nullable=False),
        sa.Column("chain", sa.String(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("size"),
    )
    op.create_table(
        "audit_event",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("recorded", sa.BigInteger(), nullable=False),
        sa.Column("organization", sa.String(), nullable=False),
        sa.Column("client", sa.String(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("policy_row", sa.String(), nullable=False),
        sa.Column("referral", sa.String(), nullable=True),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("audit_event", schema=None) as batch_op:
        batch_op.create_index("audit_event_organization", ["organization", "recorded"], unique=False)
        batch_op.create_index("audit_event_time", ["recorded", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_audit_event_referral"), ["referral"], unique=False)

    op.create_table(
        "audit_lease",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("holder", sa.String(), nullable=False),
        sa.Column("token", sa.String(), nullable=False),
        sa.Column("beat", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "audit_link",
        sa.Column("sequence", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("audit_id", sa.String(), nullable=False),
        sa.Column("leaf", sa.String(), nullable=False),
        sa.Column("subtree", sa.String(), nullable=False),
        sa.Column("chain", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("sequence"),
        sa.UniqueConstraint("audit_id", name="uq_audit_link_audit_id"),
    )
    op.create_table(
        "audit_unlinked",
        sa.Column("recorded", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("recorded", "id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "client",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("organization", sa.String(), nullable=False),
        sa.Column("scopes", sa.String(), nullable=False),
        sa.Column("purposes", sa.Text(), nullable=False),
        sa.Column("jwks", sa.Text(), nullable=True),
        sa.Column("jwks_url", sa.String(), nullable=True),
        sa.Column("callback", sa.String(), nullable=True),
        sa.Column("suspended", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("client", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_client_organization"), ["organization"], unique=False)

    op.create_table(
        "destination",
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("destination", sa.String(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("open_until", sa.BigInteger(), nullable=True),
        sa.Column("conditional_create", sa.Boolean(), nullable=True),
        sa.PrimaryKeyConstraint("kind", "destination"),
    )
    op.create_table(
        "directory_grant",
        sa.Column("organization", sa.String(), nullable=False),
        sa.Column("reader", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("organization", "reader"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "epoch",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "intake_message",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("organization", sa.String(), nullable=False),
        sa.Column("format", sa.String(), nullable=False),
        sa.Column("message_key", sa.String(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("content_sha256", sa.String(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("client", sa.String(), nullable=False),
        sa.Column("referral", sa.String(), nullable=True),
        sa.Column("kept", sa.Boolean(), nullable=False),
        sa.Column("cuts", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("intake_message", schema=None) as batch_op:
        batch_op.create_index("intake_message_key", ["organization", "format", "message_key", "revision"], unique=True)
        batch_op.create_index(batch_op.f("ix_intake_message_referral"), ["referral"], unique=False)

    op.create_table(
        "ledger_entry",
        sa.Column("referral", sa.String(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("referral", "sequence"),
    )
    op.create_table(
        "ledger_head",
        sa.Column("referral", sa.String(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("holder", sa.String(), nullable=False),
        sa.Column("hash", sa.String(), nullable=False),
        sa.Column("closed", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("referral"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "offer",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("referral", sa.String(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("receiver", sa.String(), nullable=False),
        sa.Column("service", sa.String(), nullable=False),
        sa.Column("task_id", sa.String(), nullable=False),
        sa.Column("placer", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("offered_at", sa.BigInteger(), nullable=False),
        sa.Column("accept_by", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("placer"),
        sa.UniqueConstraint("task_id"),
    )
    with op.batch_alter_table("offer", schema=None) as batch_op:
        batch_op.create_index("offer_of_referral", ["referral", "offered_at"], unique=False)

    op.create_table(
        "organization",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("postures", sa.Text(), nullable=False),
        sa.Column("services", sa.Text(), nullable=False),
        sa.Column("channel_kind", sa.String(), nullable=True),
        sa.Column("channel_address", sa.String(), nullable=True),
        sa.Column("channel_client", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_table(
        "organization_service",
        sa.Column("organization", sa.String(), nullable=False),
        sa.Column("service", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("organization", "service"),
    )
    with op.batch_alter_table("organization_service", schema=None) as batch_op:
        batch_op.create_index("organization_service_of", ["service", "organization"], unique=False)

    op.create_table(
        "outbox",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("destination", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("sending_generation", sa.Integer(), nullable=False),
        sa.Column("sent_generation", sa.Integer(), nullable=False),
        sa.Column("held_generation", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("lease_token", sa.String(), nullable=True),
        sa.Column("lease_until", sa.BigInteger(), nullable=True),
        sa.Column("worker", sa.String(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("first_attempt_at", sa.BigInteger(), nullable=True),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.Column("last_status", sa.Integer(), nullable=True),
        sa.Column("last_issue_codes", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("kind", "destination", "subject", name="uq_outbox_what"),
    )
    with op.batch_alter_table("outbox", schema=None) as batch_op:
        batch_op.create_index(
            "ix_outbox_due",
            ["kind", "destination", "due_at", "id"],
            unique=False,
            sqlite_where=sa.text("state = 'due'"),
            postgresql_where=sa.text("state = 'due'"),
        )
        batch_op.create_index(
            "ix_outbox_leased",
            ["kind", "destination", "lease_until"],
            unique=False,
            sqlite_where=sa.text("state IN ('claimed', 'sending')"),
            postgresql_where=sa.text("state IN ('claimed', 'sending')"),
        )
        batch_op.create_index(
            "ix_outbox_to_look_at",
            ["state"],
            unique=False,
            sqlite_where=sa.text("state IN ('dead', 'unknown')"),
            postgresql_where=sa.text("state IN ('dead', 'unknown')"),
        )

    op.create_table(
        "party",
        sa.Column("referral", sa.String(), nullable=False),
        sa.Column("organization", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column("closed_at", sa.BigInteger(), nullable=True),
        sa.Column("keeps_task", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("referral", "organization"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "referral",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("receipt", sa.String(), nullable=False),
        sa.Column("organization", sa.String(), nullable=False),
        sa.Column("format", sa.String(), nullable=False),
        sa.Column("message_key", sa.String(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("protocol", sa.String(), nullable=False),
        sa.Column("phase", sa.String(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("rerouted", sa.Boolean(), nullable=False),
        sa.Column("routing", sa.Text(), nullable=False),
        sa.Column("issues", sa.Text(), nullable=False),
        sa.Column("next_step", sa.Text(), nullable=False),
        sa.Column("view_word", sa.String(), nullable=False),
        sa.Column("view_since", sa.BigInteger(), nullable=False),
        sa.Column("entered_at", sa.BigInteger(), nullable=False),
        sa.Column("final_at", sa.BigInteger(), nullable=False),
        sa.Column("closes_at", sa.BigInteger(), nullable=False),
        sa.Column("accepted_by", sa.String(), nullable=True),
        sa.Column("accepted_at", sa.BigInteger(), nullable=True),
        sa.Column("en_route_at", sa.BigInteger(), nullable=True),
        sa.Column("on_scene_at", sa.BigInteger(), nullable=True),
        sa.Column("contact_made_at", sa.BigInteger(), nullable=True),
        sa.Column("engaged_at", sa.BigInteger(), nullable=True),
        sa.Column("not_engaged_at", sa.BigInteger(), nullable=True),
        sa.Column("returned_at", sa.BigInteger(), nullable=True),
        sa.Column("cancelled_at", sa.BigInteger(), nullable=True),
        sa.Column("closed_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("receipt"),
    )
    with op.batch_alter_table("referral", schema=None) as batch_op:
        batch_op.create_index("referral_of_message", ["organization", "format", "message_key"], unique=True)

    op.create_table(
        "referral_part",
        sa.Column("referral", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("resource_type", sa.String(), nullable=False),
        sa.Column("resource_id", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("referral", "name"),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("referral_part", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_referral_part_resource_id"), ["resource_id"], unique=False)

    op.create_table(
        "resource",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("domain", sa.String(), nullable=False),
        sa.Column("data_class", sa.String(), nullable=False),
        sa.Column("referral", sa.String(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("last_updated", sa.BigInteger(), nullable=False),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.Column("origin_id", sa.String(), nullable=True),
        sa.Column("origin_version", sa.Integer(), nullable=True),
        sa.Column("visibility_class", sa.String(), nullable=False),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("resource", schema=None) as batch_op:
        batch_op.create_index("resource_by_domain", ["domain", "type"], unique=False)
        batch_op.create_index("resource_by_origin", ["origin_id", "domain"], unique=False)

    op.create_table(
        "resource_referral",
        sa.Column("resource", sa.String(), nullable=False),
        sa.Column("referral", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("resource", "referral"),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("resource_referral", schema=None) as batch_op:
        batch_op.create_index("resource_referral_of", ["referral", "type", "resource"], unique=False)

    op.create_table(
        "resource_version",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("last_updated", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("visibility_class", sa.String(), nullable=False),
        sa.Column("author", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", "version"),
    )
    op.create_table(
        "routing_decision",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("referral", sa.String(), nullable=False),
        sa.Column("decided_at", sa.BigInteger(), nullable=False),
        sa.Column("rule", sa.String(), nullable=False),
        sa.Column("protocol", sa.String(), nullable=False),
        sa.Column("snapshot", sa.Text(), nullable=False),
        sa.Column("chosen", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("routing_decision", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_routing_decision_referral"), ["referral"], unique=False)

    op.create_table(
        "search_reference",
        sa.Column("resource", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("param", sa.String(), nullable=False),
        sa.Column("target", sa.String(), nullable=False),
        sa.Column("element_class", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("resource", "param", "target"),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("search_reference", schema=None) as batch_op:
        batch_op.create_index("search_reference_target", ["type", "param", "target", "resource"], unique=False)

    op.create_table(
        "search_seal",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("made_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "search_token",
        sa.Column("resource", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("param", sa.String(), nullable=False),
        sa.Column("system", sa.String(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("element_class", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("resource", "param", "system", "code"),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("search_token", schema=None) as batch_op:
        batch_op.create_index("search_token_value", ["type", "param", "code", "resource", "system"], unique=False)

    op.create_table("store_clock", sa.Column("at", sa.BigInteger(), nullable=False), sa.PrimaryKeyConstraint("at"))
    op.create_table(
        "visibility_class",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("domain", sa.String(), nullable=False),
        sa.Column("data_class", sa.String(), nullable=False),
        sa.Column("labels", sa.Text(), nullable=False),
        sa.Column("element_class", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("visibility_class", schema=None) as batch_op:
        batch_op.create_index("visibility_class_of", ["domain", "data_class"], unique=False)

    op.create_table(
        "visible",
        sa.Column("organization", sa.String(), nullable=False),
        sa.Column("purpose", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("last_updated", sa.BigInteger(), nullable=False),
        sa.Column("resource", sa.String(), nullable=False),
        sa.Column("element_classes", sa.String(), nullable=False),
        sa.Column("valid_from", sa.BigInteger(), nullable=False),
        sa.Column("valid_to", sa.BigInteger(), nullable=False),
        sa.Column("policy_epoch", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("organization", "purpose", "resource", "valid_from"),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("visible", schema=None) as batch_op:
        batch_op.create_index("visible_of", ["resource", "organization"], unique=False)
        batch_op.create_index("visible_page", ["organization", "purpose", "type", "last_updated", "resource"], unique=False)
