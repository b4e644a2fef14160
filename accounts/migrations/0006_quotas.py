"""Limits on use per period."""

import accounts.ids
import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0005_limits_and_retention")]
    operations = [
        migrations.CreateModel(
            name='Quota',
            fields=[
                ('id', models.UUIDField(default=accounts.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('subject', models.CharField(choices=[('workspace', 'Workspace'), ('member', 'Member'), ('key', 'Key'), ('end_user', 'End User')], max_length=10)),
                ('subject_id', models.CharField(blank=True, max_length=64)),
                ('unit', models.CharField(choices=[('images', 'Images'), ('credits', 'Credits')], max_length=8)),
                ('window', models.CharField(choices=[('day', 'Day'), ('month', 'Month'), ('total', 'Total')], max_length=6)),
                ('limit', models.PositiveBigIntegerField()),
                ('is_hard', models.BooleanField(default=True)),
                ('anchor_day', models.PositiveSmallIntegerField(default=1)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
        ),
        migrations.AddField(
            model_name='quota',
            name='workspace',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='accounts.workspace'),
        ),
        migrations.AddConstraint(
            model_name='quota',
            constraint=models.UniqueConstraint(fields=('workspace', 'subject', 'subject_id', 'unit', 'window'), name='quota_once_per_subject'),
        ),
        migrations.AddConstraint(
            model_name='quota',
            constraint=models.CheckConstraint(condition=models.Q(('subject__in', ['workspace', 'member', 'key', 'end_user'])), name='quota_known_subject'),
        ),
        migrations.AddConstraint(
            model_name='quota',
            constraint=models.CheckConstraint(condition=models.Q(('unit__in', ['images', 'credits'])), name='quota_known_unit'),
        ),
        migrations.AddConstraint(
            model_name='quota',
            constraint=models.CheckConstraint(condition=models.Q(('window__in', ['day', 'month', 'total'])), name='quota_known_window'),
        ),
        migrations.AddConstraint(
            model_name='quota',
            constraint=models.CheckConstraint(condition=models.Q(('anchor_day__gte', 1), ('anchor_day__lte', 31)), name='quota_anchor_is_a_day'),
        ),
        migrations.AddConstraint(
            model_name='quota',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('subject', 'workspace'), _negated=True), ('subject_id', ''), _connector='OR'), name='quota_of_one_workspace'),
        ),
    ]
