"""What was used per period, where a quota is set."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0011_rows_show_to_their_workspace"), ("inference", "0001_initial")]
    operations = [
        migrations.CreateModel(
            name='QuotaUse',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('side', models.CharField(choices=[('live', 'Live'), ('test', 'Test')], max_length=4)),
                ('subject', models.CharField(choices=[('workspace', 'Workspace'), ('member', 'Member'), ('key', 'Key'), ('end_user', 'End User')], max_length=10)),
                ('subject_id', models.CharField(blank=True, max_length=64)),
                ('unit', models.CharField(choices=[('images', 'Images'), ('credits', 'Credits')], max_length=8)),
                ('window', models.CharField(choices=[('day', 'Day'), ('month', 'Month'), ('total', 'Total')], max_length=6)),
                ('period_start_at', models.DateTimeField()),
                ('used', models.BigIntegerField(default=0)),
                ('told_at', models.DateTimeField(null=True)),
            ],
        ),
        migrations.AddField(
            model_name='quotause',
            name='workspace',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='accounts.workspace'),
        ),
        migrations.AddConstraint(
            model_name='quotause',
            constraint=models.UniqueConstraint(fields=('workspace', 'side', 'subject', 'subject_id', 'unit', 'window', 'period_start_at'), name='quota_use_once_per_period'),
        ),
        migrations.AddConstraint(
            model_name='quotause',
            constraint=models.CheckConstraint(condition=models.Q(('used__gte', 0)), name='quota_use_not_negative'),
        ),
    ]
