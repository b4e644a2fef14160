"""Chains over the audit events of each workspace."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0008_changes_raise_cache_versions")]
    operations = [
        migrations.CreateModel(
            name='AuditSeal',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveBigIntegerField()),
                ('key_id', models.CharField(max_length=20)),
                ('previous_digest', models.CharField(blank=True, max_length=64)),
                ('digest', models.CharField(max_length=64)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
        ),
        migrations.CreateModel(
            name='SealedEvent',
            fields=[
                ('event_id', models.BigIntegerField(primary_key=True, serialize=False)),
                ('position', models.PositiveIntegerField()),
                ('digest', models.CharField(max_length=64)),
            ],
        ),
        migrations.AddField(
            model_name='auditseal',
            name='workspace',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='accounts.workspace'),
        ),
        migrations.AddField(
            model_name='sealedevent',
            name='seal',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='events', to='accounts.auditseal'),
        ),
        migrations.AddField(
            model_name='sealedevent',
            name='workspace',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='accounts.workspace'),
        ),
        migrations.AddConstraint(
            model_name='auditseal',
            constraint=models.UniqueConstraint(fields=('workspace', 'number'), name='audit_seal_once_per_number'),
        ),
        migrations.AddConstraint(
            model_name='sealedevent',
            constraint=models.UniqueConstraint(fields=('seal', 'position'), name='sealed_event_once_per_position'),
        ),
    ]
