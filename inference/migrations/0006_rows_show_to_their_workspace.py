"""Row-level security on the tables of a tenant (PostgreSQL)."""

from django.db import migrations

from accounts import row_security

TABLES = (
    "inference_job",
    "inference_jobcontent",
    "inference_image",
    "inference_quotause",
    "inference_idempotencyrecord",
    "inference_prompttemplate",
    "inference_prompttemplateversion",
)


class Migration(migrations.Migration):
    dependencies = [("inference", "0005_catalogue_raises_cache_versions")]
    operations = [
        migrations.RunPython(
            lambda apps, schema_editor: row_security.enable(schema_editor, TABLES),
            lambda apps, schema_editor: row_security.disable(schema_editor, TABLES),
        )
    ]
