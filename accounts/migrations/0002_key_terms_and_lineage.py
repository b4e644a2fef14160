"""A key's terms, its lineage through rotations, and when it was last used."""

import accounts.ids
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_initial")]
    operations = [
        migrations.AddField(
            model_name='apikey',
            name='allowed_models',
            field=models.JSONField(default=list),
        ),
        migrations.AddField(
            model_name='apikey',
            name='allowed_networks',
            field=models.JSONField(default=list),
        ),
        migrations.AddField(
            model_name='apikey',
            name='last_used_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='apikey',
            name='lineage_id',
            field=models.UUIDField(default=accounts.ids.new_id, editable=False),
        ),
        migrations.AddField(
            model_name='apikey',
            name='max_images',
            field=models.PositiveIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='apikey',
            name='max_pixels',
            field=models.PositiveIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='apikey',
            name='max_steps',
            field=models.PositiveIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='apikey',
            name='replaced_by',
            field=models.OneToOneField(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='replaces', to='accounts.apikey'),
        ),
        migrations.AddField(
            model_name='apikey',
            name='requests_per_minute',
            field=models.PositiveIntegerField(blank=True, null=True),
        ),
        migrations.AddIndex(
            model_name='apikey',
            index=models.Index(fields=['workspace', 'lineage_id'], name='api_key_by_lineage'),
        ),
    ]
