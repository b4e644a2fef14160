"""Usage rows written so far: the time of their settlement stands for that of their acceptance."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("billing", "0003_usage_accepted_at")]
    operations = [
        migrations.RunSQL("UPDATE billing_usagerecord SET accepted_at = created_at", migrations.RunSQL.noop),
    ]
