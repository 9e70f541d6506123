"""Revoked tokens in Django's admin."""

from datetime import UTC, datetime
from typing import Any

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django import forms
from django.contrib import admin, messages
from django.contrib.admin.widgets import AdminRadioSelect, AdminSplitDateTime
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone

from realtime import conf
from realtime.admin.base import ReadOnlyAdmin, redis_problem
from realtime.auth.revocations import MAX_JTI, connected
from realtime.auth.tokens import MAX_USER_ID
from realtime.exceptions import RealtimeError
from realtime.models import Revocation


async def revoke(wanted: list[dict[str, Any]], by: str) -> list[Revocation]:
    async with connected(conf.get(), get_channel_layer()) as revocations:
        return [await revocations.revoke(**whose, by=by) for whose in wanted]


class RevocationForm(forms.ModelForm):  # type: ignore[type-arg]  # django-stubs: generic only when type checking
    """Choose which tokens to revoke: one by its id, or those of a user or of everybody up to a time of issue."""

    TOKEN, USER, EVERYBODY = "token", "user", "everybody"

    what = forms.ChoiceField(
        label="Revoke",
        choices=[(TOKEN, "one token"), (USER, "all tokens of a user"), (EVERYBODY, "everybody's tokens")],
        widget=AdminRadioSelect,
    )
    jti = forms.CharField(
        label="Token's id", max_length=MAX_JTI, required=False, help_text="Its <code>jti</code>, for one token"
    )
    user = forms.IntegerField(
        label="User's id", min_value=1, max_value=MAX_USER_ID, required=False, help_text="For all tokens of a user"
    )
    until = forms.SplitDateTimeField(
        label="Issued up to",
        required=False,
        widget=AdminSplitDateTime,
        help_text="Tokens issued later stay valid. Empty: now. Leave it empty for a single token",
    )

    class Meta:
        model = Revocation
        fields = ()

    @property
    def wanted(self) -> dict[str, Any]:
        """The arguments for `Revocations.revoke`, once the form is valid."""
        until = self.cleaned_data["until"]
        return {
            "jti": self.cleaned_data["jti"],
            "user_id": self.cleaned_data["user"] or 0,
            "issued_until": int(until.timestamp()) if until else 0,
        }

    def clean_until(self) -> datetime | None:
        until: datetime | None = self.cleaned_data["until"]
        if until and not 1 <= until.timestamp() <= timezone.now().timestamp():
            raise forms.ValidationError("Enter a time in the past.")
        return until

    def clean(self) -> None:
        """Reject fields that do not belong to the choice: a slip must not revoke more or less than meant."""
        what = self.cleaned_data.get("what")
        for name, belongs_to in (("jti", self.TOKEN), ("user", self.USER)):
            given = self.cleaned_data.get(name)
            if what == belongs_to and not given and name not in self.errors:
                self.add_error(name, "This field is required for this choice.")
            elif what and what != belongs_to and given:
                self.add_error(name, "Leave this field empty for this choice.")
        if what == self.TOKEN and self.cleaned_data.get("until"):
            self.add_error("until", "Leave this field empty: the time of issue does not matter for a single token.")


@admin.register(Revocation)
class RevocationAdmin(ReadOnlyAdmin):
    """Revoked tokens. To add a row is to revoke; the connections' action and `manage.py revoke` add rows too."""

    list_display = ("revoked_at", "whose", "until", "revoked_by")
    search_fields = ("whose",)

    @admin.display(description="issued until")
    def until(self, record: Revocation) -> datetime:
        return datetime.fromtimestamp(record.issued_until, UTC)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        return super().get_form(request, obj, change, **({} if obj else {"form": RevocationForm}), **kwargs)

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """Show and process the form; if Redis is unavailable nothing is stored, because the transaction rolls back."""
        try:
            return super().add_view(request, form_url, extra_context)
        except RealtimeError as error:
            self.message_user(request, f"Nothing was revoked: {redis_problem(error)}", messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())

    def save_model(self, request: HttpRequest, obj: Revocation, form: RevocationForm, change: bool) -> None:
        """Revoke the tokens, as `manage.py revoke` does."""
        obj.whose = async_to_sync(revoke)([form.wanted], request.user.get_username())[0].whose

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("realtime.add_revocation")
