"""E-mail: a template rendered for one person, sent through SES at most once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hoso.activate.catalogue import Catalogue
from hoso.activate.channels import Again, Delivered, Order, Refused, Result, Unknown
from hoso.activate.documents import EmailDestination
from hoso.activate.render import render
from hoso.model.errors import InvalidInput
from hoso.model.identifiers import normalise
from hoso.platform.mail import Mail, Mailer, MailNotSent, MailOutcomeUnknown, MailRefused, check
from hoso.platform.retry import EMAIL, Window

TAG_WORKSPACE = "hoso-workspace"
TAG_DELIVERY = "hoso-delivery"


@dataclass(frozen=True, slots=True)
class EmailChannel:
    """Sends e-mail. ``sender`` is used where a destination names none."""

    mailer: Mailer
    catalogue: Catalogue
    sender: str

    @property
    def kind(self) -> str:
        """Serves e-mail destinations."""
        return "email"

    @property
    def at_most_once(self) -> bool:
        """SES has no idempotency token, so a lost answer must not lead to a second e-mail."""
        return True

    @property
    def window(self) -> Window:
        """A day."""
        return EMAIL

    def address(self, traits: Mapping[str, Any], identifiers: Mapping[str, list[str]]) -> str | None:
        """The person's newest e-mail address, if identity counts it as the person's; else the first that it does."""
        known = sorted(identifiers.get("email", ()))
        newest = normalise("email", traits.get("email"))
        if newest is not None and newest in known:
            return newest
        return known[0] if known else None

    def prepare(self, order: Order) -> Mail:
        """The rendered message. Raises ``InvalidInput``, ``NotFound``."""
        destination, activation = order.destination, order.activation
        if not isinstance(destination, EmailDestination) or activation is None or activation.template is None:
            raise InvalidInput("an e-mail needs a destination of its kind and a template", code="no_template")
        template = self.catalogue.template(order.workspace, activation.template)
        values = {**order.detail.get("personalisation", {}), "traits": order.person, "event": order.detail}
        mail = Mail(
            to=order.address or "",
            subject=render(template.subject, values),
            html=render(template.html, values, as_html=True),
            text=render(template.text, values),
            sender=destination.sender or self.sender,
            sender_name=destination.sender_name,
            reply_to=destination.reply_to,
            headers={"List-Unsubscribe": f"<{destination.unsubscribe}>"} if destination.unsubscribe else {},
            tags={TAG_WORKSPACE: order.workspace, TAG_DELIVERY: order.id},
        )
        check(mail)
        return mail

    def send(self, order: Order, message: Mail, now: int) -> Result:  # noqa: ARG002  the message says it all
        """Send it, once."""
        try:
            return Delivered("sent", self.mailer.send(message))
        except MailRefused as error:
            return Refused(error.message)
        except MailNotSent as error:
            return Again(error.message, fault=False)
        except MailOutcomeUnknown as error:
            return Unknown(error.message)
