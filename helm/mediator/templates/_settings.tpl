{{/* The settings of the mediator: what the chart derives, and `config`, which wins. */}}

{{- define "mediator.isPostgresql" -}}
{{- if .Values.store.url }}true{{ end -}}
{{- end -}}

{{- define "mediator.isShared" -}}
{{- if and (include "mediator.isPostgresql" .) (or .Values.autoscaling.enabled (gt (int .Values.replicas) 1)) }}true{{ end -}}
{{- end -}}

{{- define "mediator.settings" -}}
{{- $http := dict "host" "0.0.0.0" "port" 8080 "metrics_port" 9090 -}}
{{- $scripts := dict "directory" (include "mediator.scriptsDirectory" .) -}}
{{- $environments := dict "directory" "/var/lib/mediator/environments" -}}
{{- $dispatch := dict "work_directory" "/var/lib/mediator/work" -}}
{{- $auth := dict "keys" list "tokens" list -}}
{{- range .Values.auth.keys -}}
{{- $key := dict "id" .id "secret_file" (printf "/etc/mediator-auth/%s" .secretKey) -}}
{{- with .scripts -}}{{- $_ := set $key "scripts" . -}}{{- end -}}
{{- $_ := set $auth "keys" (append $auth.keys $key) -}}
{{- end -}}
{{- range .Values.auth.tokens -}}
{{- $token := dict "name" .name "role" .role "secret_file" (printf "/etc/mediator-auth/%s" .secretKey) -}}
{{- $_ := set $auth "tokens" (append $auth.tokens $token) -}}
{{- end -}}
{{- $base := dict "http" $http "scripts" $scripts "environments" $environments "store" (include "mediator.store" . | fromYaml) "dispatch" $dispatch "auth" $auth -}}
{{- if .Values.jobs.enabled -}}
{{- $_ := set $base "kubernetes" (include "mediator.jobs" . | fromYaml) -}}
{{- end -}}
{{- if .Values.shimKeeper.enabled -}}
{{- $_ := set $base "shim" (include "mediator.shim" . | fromYaml) -}}
{{- end -}}
{{- toYaml (mergeOverwrite $base (deepCopy .Values.config)) -}}
{{- end -}}

{{/* Scripts, and credentials of registries, are derived where the pods of the Jobs are in this namespace and can have them. */}}
{{- define "mediator.jobs" -}}
{{- $said := .Values.config.kubernetes | default dict -}}
{{- $namespace := $said.namespace | default .Values.jobs.namespace | default .Release.Namespace -}}
{{- $scripts := .Values.scripts -}}
enabled: true
namespace: {{ $namespace | quote }}
image: {{ .Values.jobs.image | default (include "mediator.image" .) | quote }}
{{- if eq $namespace .Release.Namespace }}
{{- if hasKey $said "scripts" }}
{{- else if or $scripts.inline $scripts.existingConfigMap }}
scripts:
  config_map: {{ $scripts.existingConfigMap | default (include "mediator.named" (list . "scripts")) }}
{{- else if and $scripts.existingClaim (not $scripts.subPath) }}
scripts:
  claim: {{ $scripts.existingClaim }}
{{- end }}
{{- with .Values.imagePullSecrets }}
pod_template:
  spec:
    imagePullSecrets:
      {{- toYaml . | nindent 6 }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "mediator.shim" -}}
{{- with .Values.shimKeeper -}}
namespace: {{ .namespace | default $.Release.Namespace | quote }}
{{- if .kubeconfigSecret }}
kubeconfig: /etc/mediator-kubeconfig/{{ .kubeconfigKey }}
{{- else }}
url: {{ include "mediator.clusterUrl" $ }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Where the settings say that the Jobs are, and SecureChange. */}}
{{- define "mediator.jobsNamespace" -}}
{{- (include "mediator.settings" . | fromYaml).kubernetes.namespace -}}
{{- end -}}

{{- define "mediator.shimNamespace" -}}
{{- (include "mediator.settings" . | fromYaml).shim.namespace -}}
{{- end -}}

{{- define "mediator.store" -}}
{{- if include "mediator.isPostgresql" . -}}
url: {{ .Values.store.url | quote }}
{{- with .Values.store.passwordKey }}
password_file: /etc/mediator-database/{{ . }}
{{- end }}
{{- else -}}
url: sqlite:////var/lib/mediator/mediator.db
{{- end -}}
{{- end -}}

{{- define "mediator.scriptsDirectory" -}}
{{- if .Values.scripts.git.repository -}}
{{- list "/scripts/current" .Values.scripts.git.path | join "/" | clean -}}
{{- else if .Values.scripts.image.reference -}}
/scripts/current
{{- else -}}
/scripts
{{- end -}}
{{- end -}}

{{- define "mediator.port" -}}
{{- (include "mediator.settings" . | fromYaml).http.port | int -}}
{{- end -}}

{{- define "mediator.metricsPort" -}}
{{- (include "mediator.settings" . | fromYaml).http.metrics_port | int -}}
{{- end -}}

{{/* Seconds of a duration as the mediator writes it (`1m30s`, `500ms`), rounded up. */}}
{{- define "mediator.seconds" -}}
{{- $units := dict "ms" 0.001 "s" 1 "m" 60 "h" 3600 "d" 86400 -}}
{{- $sum := 0.0 -}}
{{- range regexFindAll "[0-9.]+(ms|s|m|h|d)" (toString .) -1 -}}
{{- $sum = addf $sum (mulf (regexFind "[0-9.]+" . | float64) (get $units (regexFind "[a-z]+" .) | float64)) -}}
{{- end -}}
{{- ceil $sum | int -}}
{{- end -}}

{{/* What an orderly stop takes: docs/how-to/operate.md asks for ten seconds more, and a few are for the network. */}}
{{- define "mediator.terminationGracePeriodSeconds" -}}
{{- if kindIs "invalid" .Values.terminationGracePeriodSeconds -}}
{{- $dispatch := (include "mediator.settings" . | fromYaml).dispatch -}}
{{- $drain := include "mediator.seconds" ($dispatch.drain | default "30s") | int -}}
{{- $grace := include "mediator.seconds" ($dispatch.grace | default "10s") | int -}}
{{- add $drain $grace 15 -}}
{{- else -}}
{{- int .Values.terminationGracePeriodSeconds -}}
{{- end -}}
{{- end -}}
