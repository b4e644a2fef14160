"""An idempotency key may have made something else than a job."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("inference", "0003_image_bytes_deleted")]
    operations = [
        migrations.AddField(
            model_name='idempotencyrecord',
            name='resource',
            field=models.CharField(blank=True, max_length=80),
        ),
        migrations.AlterField(
            model_name='idempotencyrecord',
            name='job',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='inference.job'),
        ),
    ]
