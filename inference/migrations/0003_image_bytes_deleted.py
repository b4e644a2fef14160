"""Pictures are hidden first, their bytes deleted after."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("inference", "0002_quota_use")]
    operations = [
        migrations.AddField(
            model_name='image',
            name='bytes_deleted_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddIndex(
            model_name='image',
            index=models.Index(condition=models.Q(('bytes_deleted_at__isnull', True), ('deleted_at__isnull', False)), fields=['deleted_at'], name='image_bytes_to_delete'),
        ),
        migrations.AddIndex(
            model_name='image',
            index=models.Index(condition=models.Q(('deleted_at__isnull', True)), fields=['created_at'], name='image_by_age'),
        ),
    ]
