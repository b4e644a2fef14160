"""Changes behind cached lookups raise their version, in the transaction of the change."""

from django.db import migrations

from accounts import cache_versions

KEY_COLUMNS = (
    "digest, pepper_id, name, membership_id, replaced_by_id, scopes, allowed_models, allowed_networks, max_pixels, "
    "max_steps, max_images, requests_per_minute, expires_at, revoked_at"
)
# Not in the lists: what is written often and decides nothing, such as the time of the last use or sign-in.
WATCHED = (
    ("keys", "accounts_apikey", (f"UPDATE OF {KEY_COLUMNS}", "DELETE")),
    ("keys", "accounts_membership", ("UPDATE", "DELETE")),
    ("keys", "accounts_user", ("UPDATE OF is_active", "DELETE")),
    ("keys", "accounts_workspace", ("UPDATE", "DELETE")),
    ("limits", "accounts_entitlements", cache_versions.EVERY_CHANGE),
    ("limits", "accounts_quota", cache_versions.EVERY_CHANGE),
    ("limits", "accounts_workspacekeyring", ("UPDATE", "DELETE")),
    ("limits", "accounts_workspace", ("UPDATE", "DELETE")),
)


def watch(apps, schema_editor):
    for topic, table, verbs in WATCHED:
        cache_versions.watch(schema_editor, topic, table, verbs)


def unwatch(apps, schema_editor):
    for topic, table, verbs in WATCHED:
        cache_versions.unwatch(schema_editor, topic, table, verbs)


class Migration(migrations.Migration):
    dependencies = [("accounts", "0007_cache_versions")]
    operations = [migrations.RunPython(watch, unwatch)]
