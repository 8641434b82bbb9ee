{{/* Names and labels. */}}

{{- define "mediator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "mediator.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* The full name with a suffix, 63 characters at most: (list $ "scripts") */}}
{{- define "mediator.named" -}}
{{- $suffix := index . 1 -}}
{{- $room := sub 62 (len $suffix) | int -}}
{{- printf "%s-%s" (include "mediator.fullname" (index . 0) | trunc $room | trimSuffix "-") $suffix -}}
{{- end -}}

{{- define "mediator.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "mediator.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* These can never change: a Deployment's selector is immutable. */}}
{{- define "mediator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "mediator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* The chart's own labels win over commonLabels. */}}
{{- define "mediator.labels" -}}
{{- toYaml (merge (include "mediator.chartLabels" . | fromYaml) (deepCopy .Values.commonLabels)) -}}
{{- end -}}

{{- define "mediator.chartLabels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "mediator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | trunc 63 | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{/* Labels of a pod that is no mediator, so that no Service leads to it: (list $ "test") */}}
{{- define "mediator.helperLabels" -}}
{{- $root := index . 0 -}}
{{- $own := dict "app.kubernetes.io/name" (printf "%s-%s" (include "mediator.name" $root | trunc 50 | trimSuffix "-") (index . 1)) -}}
{{- toYaml (merge $own (include "mediator.labels" $root | fromYaml)) -}}
{{- end -}}

{{- define "mediator.podLabels" -}}
{{- toYaml (merge (include "mediator.selectorLabels" . | fromYaml) (deepCopy .Values.podLabels) (deepCopy .Values.commonLabels)) -}}
{{- end -}}

{{- define "mediator.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{- printf "%s@%s" .repository .digest -}}
{{- else -}}
{{- printf "%s:%s" .repository (.tag | default $.Chart.AppVersion) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "mediator.certificateSecret" -}}
{{- .Values.ingress.tls.secretName | default (include "mediator.named" (list . "tls")) -}}
{{- end -}}

{{/* Where pods of this cluster reach it. */}}
{{- define "mediator.clusterUrl" -}}
{{- printf "http://%s.%s.svc:%v" (include "mediator.fullname" .) .Release.Namespace .Values.service.port -}}
{{- end -}}

{{/* The rules of the only Role in a file of the project: (list $ "files/jobs-role.yaml") */}}
{{- define "mediator.rules" -}}
{{- range splitList "\n---\n" ((index . 0).Files.Get (index . 1)) -}}
{{- $object := fromYaml . -}}
{{- if eq $object.kind "Role" -}}
{{- toYaml $object.rules -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What binds a Role of the same name to a service account of the release: (dict "name" "role" "account" "a" "root" $) */}}
{{- define "mediator.binding" -}}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{ .name }}
subjects:
  - kind: ServiceAccount
    name: {{ .account }}
    namespace: {{ .root.Release.Namespace }}
{{- end -}}

{{/* These can never change either. */}}
{{- define "mediator.keeperSelectorLabels" -}}
app.kubernetes.io/name: {{ (include "mediator.helperLabels" (list . "shim-keeper") | fromYaml) | dig "app.kubernetes.io/name" "" }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Where pods may connect to, the API server among it or not: (list $ true) */}}
{{- define "mediator.egress" -}}
{{- with (index . 0).Values.networkPolicy -}}
- ports:
    - port: 53
      protocol: UDP
    - port: 53
      protocol: TCP
{{ toYaml .egress }}
{{- if and (index $ 1) .apiServer }}
{{ toYaml .apiServer }}
{{- end }}
{{- end }}
{{- end -}}
