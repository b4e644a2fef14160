"""When the job of a usage row was accepted."""

import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0011_rows_show_to_their_workspace"), ("billing", "0002_ledger_rows_are_immutable")]
    operations = [
        migrations.AddField(
            model_name='usagerecord',
            name='accepted_at',
            field=models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
        ),
        migrations.AddIndex(
            model_name='usagerecord',
            index=models.Index(fields=['workspace', 'side', 'accepted_at'], name='usage_by_acceptance'),
        ),
    ]
