{{/* What a schema cannot say: combinations that cannot work, all of them at once, a sentence each. */}}

{{- define "mediator.validate" -}}
{{- $wrong := list -}}
{{- range list "image" "auth" "store" "scripts" "access" "metrics" "jobs" "shimKeeper" "helmTest" -}}
{{- with include (printf "mediator.validate.%s" .) $ | trim -}}
{{- $wrong = append $wrong . -}}
{{- end -}}
{{- end -}}
{{- if $wrong -}}
{{- fail (printf "\n\n%s\n" (join "\n" $wrong)) -}}
{{- end -}}
{{- end -}}

{{- define "mediator.validate.image" -}}
{{- if not .Values.image.repository }}
image.repository: say where the image of the mediator is, such as registry.example.com/mediator.
{{- end }}
{{- end -}}

{{- define "mediator.validate.auth" -}}
{{- if not (.Values.config.auth).keys }}
{{- if not .Values.auth.existingSecret }}
auth.existingSecret: name a Secret with the keys of the shims; make one with `kubectl create secret generic mediator-auth --from-file=securechange.key --from-file=operator.token`.
{{- end }}
{{- if not .Values.auth.keys }}
auth.keys: name at least one key; without any, no ticket can be handed over.
{{- end }}
{{- end }}
{{- end -}}

{{- define "mediator.validate.store" -}}
{{- $store := .Values.store }}
{{- if $store.url }}
{{- if not $store.existingSecret }}
store.existingSecret: PostgreSQL needs a Secret with its password (entry store.passwordKey) or with a client certificate.
{{- end }}
{{- if or (regexMatch "^[a-z+]+://[^/@]*:[^/@]*@" $store.url) (regexMatch "[?&](password|sslpassword)=" $store.url) }}
store.url: it holds a password, which everybody can read in a ConfigMap; put it into the Secret that store.existingSecret names.
{{- end }}
{{- if .Values.persistence.existingClaim }}
persistence.existingClaim: a claim is for SQLite's file, and store.url says PostgreSQL; take one of them out.
{{- end }}
{{- else }}
{{- if gt (int .Values.replicas) 1 }}
replicas: SQLite is one file for one mediator; set replicas to 1, or store.url to a PostgreSQL database.
{{- end }}
{{- if .Values.autoscaling.enabled }}
autoscaling.enabled: SQLite is one file for one mediator; turn it off, or set store.url to a PostgreSQL database.
{{- end }}
{{- if $store.existingSecret }}
store.existingSecret: SQLite has no password; take it out, or set store.url to a PostgreSQL database.
{{- end }}
{{- end }}
{{- if (.Values.config.store).url }}
config.store.url: say it in store.url, by which the chart knows what to make; empty it is SQLite on a volume.
{{- end }}
{{- range $key, $url := .Values.config.environments }}
{{- range (kindIs "slice" $url | ternary $url (list $url)) }}
{{- if regexMatch "^[a-z+]+://[^/]*:[^/@]*@" (toString .) }}
config.environments.{{ $key }}: it holds a password, which everybody can read in a ConfigMap; put it into a Secret, and its variable (such as UV_INDEX) into extraEnv.
{{- end }}
{{- end }}
{{- end }}
{{- if and .Values.autoscaling.enabled (gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) }}
autoscaling.minReplicas: it is more than autoscaling.maxReplicas.
{{- end }}
{{- if and .Values.autoscaling.enabled (not (.Capabilities.APIVersions.Has "autoscaling/v2")) }}
autoscaling.enabled: this cluster has no autoscaling/v2 (Kubernetes 1.23 or newer); turn it off.
{{- end }}
{{- end -}}

{{- define "mediator.validate.scripts" -}}
{{- $scripts := .Values.scripts }}
{{- $from := list }}
{{- if $scripts.inline }}{{ $from = append $from "scripts.inline" }}{{ end }}
{{- if $scripts.existingConfigMap }}{{ $from = append $from "scripts.existingConfigMap" }}{{ end }}
{{- if $scripts.existingClaim }}{{ $from = append $from "scripts.existingClaim" }}{{ end }}
{{- if $scripts.git.repository }}{{ $from = append $from "scripts.git.repository" }}{{ end }}
{{- if $scripts.image.reference }}{{ $from = append $from "scripts.image.reference" }}{{ end }}
{{- if gt (len $from) 1 }}
scripts: they can come from one place only; choose one of {{ join ", " $from }}.
{{- end }}
{{- if and $scripts.subPath (not $scripts.existingClaim) }}
scripts.subPath: it is a directory of scripts.existingClaim, which is not set.
{{- end }}
{{- if regexMatch "^[a-z+]+://[^/]*:[^/@]*@" $scripts.git.repository }}
scripts.git.repository: it holds a password, which everybody can read in the pod; put it into the Secret that scripts.git.existingSecret names.
{{- end }}
{{- end -}}

{{- define "mediator.validate.access" -}}
{{- $port := include "mediator.port" . }}
{{- $metrics := include "mediator.metricsPort" . }}
{{- if or (eq $port "0") (eq $metrics "0") (eq $port $metrics) }}
config.http: port and metrics_port must be two numbers above 0, so that health and metrics stay inside the cluster; leave them out for 8080 and 9090.
{{- end }}
{{- with .Values.ingress }}
{{- if and .enabled (not .hosts) }}
ingress.hosts: name the host by which the shim reaches the mediator.
{{- end }}
{{- if and .enabled .tls.enabled (not .tls.secretName) (not .tls.certManager.issuer) }}
ingress.tls: it needs a certificate; name a Secret in ingress.tls.secretName, or an issuer in ingress.tls.certManager.issuer.
{{- end }}
{{- if and .tls.certManager.issuer (not .tls.enabled) }}
ingress.tls.enabled: an issuer is named and nothing uses its certificate; turn it on.
{{- end }}
{{- end }}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) }}
httpRoute.parentRefs: name the Gateway that leads to the mediator.
{{- end }}
{{- with .Values.service }}
{{- if and .nodePort (eq .type "ClusterIP") }}
service.nodePort: a Service of type ClusterIP has none; set service.type to NodePort or LoadBalancer.
{{- end }}
{{- if and (or .loadBalancerClass .loadBalancerSourceRanges) (ne .type "LoadBalancer") }}
service.type: a class or source ranges of a load balancer are given; set it to LoadBalancer.
{{- end }}
{{- if and .externalTrafficPolicy (eq .type "ClusterIP") }}
service.externalTrafficPolicy: a Service of type ClusterIP has none; set service.type to NodePort or LoadBalancer.
{{- end }}
{{- end }}
{{- end -}}

{{- define "mediator.validate.metrics" -}}
{{- if and .Values.metrics.podMonitor.enabled .Values.metrics.serviceMonitor.enabled }}
metrics: podMonitor and serviceMonitor would have every mediator scraped twice; enable one of them.
{{- end }}
{{- end -}}

{{- define "mediator.validate.jobs" -}}
{{- $said := .Values.config.kubernetes | default dict }}
{{- if .Values.jobs.enabled }}
{{- if not (or .Values.serviceAccount.create .Values.serviceAccount.name) }}
jobs.enabled: the Role would go to the service account `default`, and so to every pod of the namespace; set serviceAccount.create, or serviceAccount.name to one of the mediator's own.
{{- end }}
{{- if or $said.kubeconfig $said.context }}
jobs.enabled: it is for Jobs in this cluster, and config.kubernetes.kubeconfig or context is for another one; take one of them out.
{{- end }}
{{- if eq (toString $said.enabled) "false" }}
jobs.enabled: config.kubernetes.enabled is false, and nothing would use the Role; take one of them out.
{{- end }}
{{- else if or .Values.jobs.namespace .Values.jobs.image }}
jobs.enabled: a namespace or an image of Jobs is given and nothing uses it; turn it on.
{{- end }}
{{- end -}}

{{- define "mediator.validate.shimKeeper" -}}
{{- $said := .Values.config.shim | default dict }}
{{- with .Values.shimKeeper }}
{{- if .enabled }}
{{- if not $said.selector }}
config.shim.selector: say the labels of SecureChange's pods, such as app=securechange; the keeper keeps every pod that has them.
{{- end }}
{{- if $said.kubeconfig }}
config.shim.kubeconfig: say it in shimKeeper.kubeconfigSecret, by which the chart knows whether to make a Role.
{{- end }}
{{- if and $said.context (not .kubeconfigSecret) }}
config.shim.context: it is one of a kubeconfig; name a Secret with that in shimKeeper.kubeconfigSecret.
{{- end }}
{{- if not (or $said.url (and (not .kubeconfigSecret) (eq (toString $.Values.service.targetPort) "http"))) }}
config.shim.url: say where SecureChange's pods reach the mediator, such as https://mediator.example.com; in another cluster, or by https, the chart cannot know it.
{{- end }}
{{- else if or .namespace .kubeconfigSecret }}
shimKeeper.enabled: a namespace or a kubeconfig of the keeper is given and nothing uses it; turn it on.
{{- end }}
{{- end }}
{{- end -}}

{{- define "mediator.validate.helmTest" -}}
{{- if and .Values.helmTest.expect (not .Values.helmTest.script) }}
helmTest.expect: name in helmTest.script the script whose answer it is.
{{- end }}
{{- end -}}
