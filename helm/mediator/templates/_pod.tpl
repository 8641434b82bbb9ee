{{/* What the mediator's containers and pods share: the daemon, its init containers, the migration and the test. */}}

{{/* One container that runs the mediator, by the image's own start (which reaps), or by "command" instead of "args":
(dict "root" $ "name" "migrate" "args" (list "migrate")) */}}
{{- define "mediator.container" -}}
name: {{ .name }}
image: {{ include "mediator.image" .root | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
{{- with .command }}
command: {{ toJson . }}
{{- end }}
{{- with .args }}
args: {{ toJson . }}
{{- end }}
env:
  {{- include "mediator.env" .root | nindent 2 }}
{{- with .root.Values.extraEnvFrom }}
envFrom:
  {{- tpl (toYaml .) $.root | nindent 2 }}
{{- end }}
securityContext:
  {{- toYaml .root.Values.securityContext | nindent 2 }}
resources:
  {{- toYaml .root.Values.resources | nindent 2 }}
volumeMounts:
  {{- include "mediator.mounts" .root | nindent 2 }}
{{- end -}}

{{- define "mediator.env" -}}
- name: MEDIATOR_CONFIG
  value: /etc/mediator/mediator.yaml
- name: HOME
  value: /tmp
{{- with .Values.extraEnv }}
{{ tpl (toYaml .) $ }}
{{- end }}
{{- end -}}

{{- define "mediator.mounts" -}}
- name: settings
  mountPath: /etc/mediator
  readOnly: true
{{- if .Values.auth.existingSecret }}
- name: auth
  mountPath: /etc/mediator-auth
  readOnly: true
{{- end }}
{{- if .Values.store.existingSecret }}
- name: database
  mountPath: /etc/mediator-database
  readOnly: true
{{- end }}
{{ include "mediator.scriptsMount" . }}
- name: state
  mountPath: /var/lib/mediator
- name: tmp
  mountPath: /tmp
{{- with .Values.extraVolumeMounts }}
{{ tpl (toYaml .) $ }}
{{- end }}
{{- end -}}

{{- define "mediator.scriptsMount" -}}
- name: scripts
  mountPath: /scripts
  readOnly: true
  {{- with .Values.scripts.subPath }}
  subPath: {{ . }}
  {{- end }}
{{- end -}}

{{- define "mediator.volumes" -}}
- name: settings
  configMap:
    name: {{ include "mediator.fullname" . }}
{{- include "mediator.secretVolumes" . }}
{{ include "mediator.scriptsVolumes" . }}
- name: state
  {{- if include "mediator.isPostgresql" . }}
  emptyDir: {{ with .Values.scratchSize }}{{ dict "sizeLimit" . | toJson }}{{ else }}{}{{ end }}
  {{- else }}
  persistentVolumeClaim:
    claimName: {{ .Values.persistence.existingClaim | default (include "mediator.fullname" .) }}
  {{- end }}
- name: tmp
  emptyDir: {}
{{- with .Values.extraVolumes }}
{{ tpl (toYaml .) $ }}
{{- end }}
{{- end -}}

{{/* The scripts, and what brings them there. */}}
{{- define "mediator.scriptsVolumes" -}}
- name: scripts
  {{- include "mediator.scriptsVolume" . | nindent 2 }}
{{- with .Values.scripts.image }}
{{- if .reference }}
- name: scripts-image
  image:
    reference: {{ .reference | quote }}
    {{- with .pullPolicy }}
    pullPolicy: {{ . }}
    {{- end }}
{{- end }}
{{- end }}
{{- if .Values.scripts.git.repository }}
- name: git-tmp
  emptyDir: {}
{{- with .Values.scripts.git.existingSecret }}
- name: git-secret
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- end }}
{{- end -}}

{{/* 0440: the mediator refuses secrets that others can read, and PostgreSQL's library keys that a group can write. */}}
{{- define "mediator.secretVolumes" -}}
{{- with .Values.auth.existingSecret }}
- name: auth
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- with .Values.store.existingSecret }}
- name: database
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- end -}}

{{- define "mediator.scriptsVolume" -}}
{{- with .Values.scripts -}}
{{- if .existingClaim -}}
persistentVolumeClaim:
  claimName: {{ .existingClaim }}
  readOnly: true
{{- else if or .inline .existingConfigMap -}}
configMap:
  name: {{ .existingConfigMap | default (include "mediator.named" (list $ "scripts")) }}
  defaultMode: 0555
{{- else -}}
emptyDir: {}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* git-sync, as init container and beside the mediator: (dict "root" $ "name" "scripts" "once" true) */}}
{{- define "mediator.gitSync" -}}
{{- $git := .root.Values.scripts.git -}}
name: {{ .name }}
image: {{ printf "%s:%s" $git.image.repository $git.image.tag | quote }}
imagePullPolicy: {{ $git.image.pullPolicy }}
env:
  - name: GITSYNC_REPO
    value: {{ $git.repository | quote }}
  - name: GITSYNC_REF
    value: {{ $git.ref | quote }}
  - name: GITSYNC_ROOT
    value: /scripts
  - name: GITSYNC_LINK
    value: current
  {{- if .once }}
  - name: GITSYNC_ONE_TIME
    value: "true"
  {{- else }}
  - name: GITSYNC_PERIOD
    value: {{ $git.period | quote }}
  - name: GITSYNC_MAX_FAILURES
    value: "-1" # what is here stays while the repository is away
  {{- end }}
  {{- if $git.existingSecret }}
  {{- if regexMatch "^https?://" $git.repository }}
  - name: GITSYNC_USERNAME
    valueFrom:
      secretKeyRef:
        name: {{ $git.existingSecret }}
        key: username
  - name: GITSYNC_PASSWORD_FILE
    value: /etc/git-secret/password
  {{- else }}
  - name: GITSYNC_SSH_KEY_FILE
    value: /etc/git-secret/ssh
  - name: GITSYNC_SSH_KNOWN_HOSTS_FILE
    value: /etc/git-secret/known_hosts
  {{- end }}
  {{- end }}
securityContext:
  {{- toYaml (mergeOverwrite (deepCopy .root.Values.securityContext) (deepCopy $git.securityContext)) | nindent 2 }}
resources:
  {{- toYaml $git.resources | nindent 2 }}
volumeMounts:
  - name: scripts
    mountPath: /scripts
  - name: git-tmp
    mountPath: /tmp
  {{- if $git.existingSecret }}
  - name: git-secret
    mountPath: /etc/git-secret
    readOnly: true
  {{- end }}
{{- end -}}

{{/* Copies the scripts out of their image: some container runtimes let nothing on such a volume be executed. */}}
{{- define "mediator.scriptsFromImage" -}}
name: scripts
image: {{ include "mediator.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
command: {{ list "cp" "-RT" "--preserve=mode" (list "/scripts-image" .Values.scripts.image.path | join "/" | clean) "/scripts/current" | toJson }}
securityContext:
  {{- toYaml .Values.securityContext | nindent 2 }}
resources:
  {{- toYaml .Values.resources | nindent 2 }}
volumeMounts:
  - name: scripts-image
    mountPath: /scripts-image
    readOnly: true
  - name: scripts
    mountPath: /scripts
{{- end -}}

{{/* Fields of every pod that say where and as whom it runs. No variables of Services: MEDIATOR_... belongs to the settings. */}}
{{- define "mediator.podBasics" -}}
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.hostAliases }}
hostAliases:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.dnsPolicy }}
dnsPolicy: {{ . }}
{{- end }}
{{- with .Values.dnsConfig }}
dnsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Scripts first, then what checks them; the schema before what would wait for it. */}}
{{- define "mediator.initContainers" -}}
{{- $migrate := and (include "mediator.isPostgresql" .) (eq .Values.store.migrate "init") -}}
{{- if or .Values.extraInitContainers .Values.scripts.git.repository .Values.scripts.image.reference .Values.check.enabled $migrate .Values.environments.prepare -}}
initContainers:
  {{- with .Values.extraInitContainers }}
  {{- tpl (toYaml .) $ | nindent 2 }}
  {{- end }}
  {{- if .Values.scripts.git.repository }}
  - {{ include "mediator.gitSync" (dict "root" . "name" "scripts" "once" true) | nindent 4 | trim }}
  {{- end }}
  {{- if .Values.scripts.image.reference }}
  - {{ include "mediator.scriptsFromImage" . | nindent 4 | trim }}
  {{- end }}
  {{- if .Values.check.enabled }}
  - {{ include "mediator.container" (dict "root" . "name" "check" "command" (include "mediator.checkCommand" . | fromJsonArray)) | nindent 4 | trim }}
  {{- end }}
  {{- if $migrate }}
  - {{ include "mediator.container" (dict "root" . "name" "migrate" "args" (list "migrate")) | nindent 4 | trim }}
  {{- end }}
  {{- if .Values.environments.prepare }}
  - {{ include "mediator.container" (dict "root" . "name" "prepare" "command" (include "mediator.prepareCommand" . | fromJsonArray)) | nindent 4 | trim }}
  {{- end }}
{{- end -}}
{{- end -}}

{{/* Exit code 1 means that a script is not ready, 78 that `serve` would not start. */}}
{{- define "mediator.checkCommand" -}}
{{- if .Values.check.scripts -}}
["mediator", "check"]
{{- else -}}
["sh", "-c", "mediator check || [ $? -eq 1 ]"]
{{- end -}}
{{- end -}}

{{/* Exit code 1 means that an environment could not be built; the daemon tries again. */}}
{{- define "mediator.prepareCommand" -}}
{{- if .Values.environments.required -}}
["mediator", "prepare"]
{{- else -}}
["sh", "-c", "mediator prepare || [ $? -eq 1 ]"]
{{- end -}}
{{- end -}}
