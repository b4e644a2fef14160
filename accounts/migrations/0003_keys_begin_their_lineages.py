"""Every key that was issued so far begins a lineage of its own."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("accounts", "0002_key_terms_and_lineage")]
    operations = [
        migrations.RunSQL("UPDATE accounts_apikey SET lineage_id = id", migrations.RunSQL.noop),
    ]
