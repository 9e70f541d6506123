from django.db import migrations, models

FOREVER = 253_402_300_799


def keep_for_ever(apps, schema_editor):
    """Nobody knows when the tokens of these revocations expire. The first number is here before two could create it."""
    apps.get_model("realtime", "Revocation").objects.update(kept_until=FOREVER)
    apps.get_model("realtime", "RevocationNumber").objects.get_or_create(id=1, defaults={"number": 0})


class Migration(migrations.Migration):

    dependencies = [
        ('realtime', '0003_revocations'),
    ]

    operations = [
        migrations.CreateModel(
            name='RevocationNumber',
            fields=[
                ('id', models.PositiveSmallIntegerField(primary_key=True, serialize=False)),
                ('number', models.BigIntegerField()),
            ],
            options={'default_permissions': ()},
        ),
        migrations.AlterModelOptions(
            name='revocation',
            options={'default_permissions': ('view', 'add')},
        ),
        migrations.RunPython(keep_for_ever, migrations.RunPython.noop),
    ]
