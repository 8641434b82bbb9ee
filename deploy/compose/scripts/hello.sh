#!/bin/bash
# Says which ticket it got; replace it with your own.
printf "%s of ticket %s\n" "${SCW_EVENT-}" "${MEDIATOR_TICKET_ID-}"
