"""Indexes for the admin's filters. On PostgreSQL they are built while the relay writes, and a failed run may be repeated."""

from typing import Any

from django.db import migrations, models


class AddIndexOnline(migrations.AddIndex):
    """Adds an index; on PostgreSQL without a lock, for which the migration can't be one transaction."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        if schema_editor.connection.vendor != "postgresql":
            super().database_forwards(app_label, schema_editor, from_state, to_state)
            return
        model = to_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            schema_editor.execute(f'DROP INDEX CONCURRENTLY IF EXISTS "{self.index.name}"')  # of a run that failed
            schema_editor.add_index(model, self.index, concurrently=True)


class Migration(migrations.Migration):

    atomic = False

    dependencies = [
        ('realtime', '0004_revocations_without_end'),
    ]

    operations = [
        AddIndexOnline(
            model_name='connectionrecord',
            index=models.Index(fields=['-opened_at', '-id'], name='connection_opened'),
        ),
        AddIndexOnline(
            model_name='connectionrecord',
            index=models.Index(fields=['node', '-opened_at', '-id'], name='connection_node'),
        ),
        AddIndexOnline(
            model_name='connectionrecord',
            index=models.Index(fields=['close_code', '-opened_at', '-id'], name='connection_close_code'),
        ),
        AddIndexOnline(
            model_name='connectionrecord',
            index=models.Index(fields=['closed_at', 'close_code'], name='connection_closed'),
        ),
        AddIndexOnline(
            model_name='connectionrecord',
            index=models.Index(condition=models.Q(('closed_at', None)), fields=['-opened_at', '-id'], name='connection_open'),
        ),
        AddIndexOnline(
            model_name='connectionrecord',
            index=models.Index(condition=models.Q(('closed_at', None)), fields=['node', '-opened_at', '-id'], name='connection_open_node'),
        ),
        migrations.AlterField(
            model_name='connectionrecord',
            name='opened_at',
            field=models.DateTimeField(verbose_name='opened'),
        ),
        migrations.AlterField(
            model_name='connectionrecord',
            name='close_code',
            field=models.IntegerField(blank=True, null=True),
        ),
        migrations.AlterField(
            model_name='connectionrecord',
            name='closed_at',
            field=models.DateTimeField(blank=True, null=True, verbose_name='closed'),
        ),
        migrations.AlterField(
            model_name='connectionrecord',
            name='node',
            field=models.CharField(max_length=128),
        ),
    ]
