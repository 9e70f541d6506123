"""The paths of Django's admin. Importing this module imports and registers every app's admin pages."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

admin.autodiscover()
urlpatterns: list[URLPattern | URLResolver] = [path("admin/", include(admin.site.get_urls()))]
